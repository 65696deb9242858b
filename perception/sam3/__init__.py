"""SAM 3, which finds and cuts out in one."""
