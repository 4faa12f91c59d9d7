update t set n = n + 1
update t set id = -1
update t set id = 0
