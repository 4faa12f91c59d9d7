update t set n = n + 1
