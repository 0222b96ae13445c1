"""A machine whose run can be stopped, rewound and repeated, without the Python that drives it knowing of it."""
