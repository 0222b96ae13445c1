/* The hash of the sources that an image was made from (firmware/build.py), in a section that is not loaded. */
	.section .flexserve.sources, "", %progbits
	.ascii SOURCES
