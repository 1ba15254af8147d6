"""``inv bench``: sshjobs and its peers on one sshd, in one run. It asserts nothing."""
