# SPDX-License-Identifier: Apache-2.0
#
# The Markdown table from the lines of tests/bench/run: one row per cell and peer of vhost-multi.

function median_of(list, values, n, i, j, x)
{
	n = split(list, values, " ")
	for (i = 2; i <= n; i++) {
		x = values[i] + 0
		for (j = i - 1; j > 0 && values[j] + 0 > x; j--)
			values[j + 1] = values[j]
		values[j + 1] = x
	}
	low = values[1]
	high = values[n]
	return n % 2 ? values[(n + 1) / 2] : (values[n / 2] + values[n / 2 + 1]) / 2
}

function short(x)
{
	if (x >= 1e6)
		return sprintf("%.2fM", x / 1e6)
	return x >= 1e4 ? sprintf("%.0fk", x / 1e3) : sprintf("%.1fk", x / 1e3)
}

function spread(list, middle)
{
	middle = median_of(list)
	return sprintf("%s (%s–%s)", short(middle), short(low), short(high))
}

function ratios(cell, peer, key, round, list)
{
	for (round = 1; ((cell, "vhost-multi", round) in value); round++)
		list = list " " value[cell, "vhost-multi", round] / value[cell, peer, round]
	key = median_of(list)
	return sprintf("%.2f (%.2f–%.2f)", key, low, high)
}

function latency(key)
{
	return sprintf("%.0f / %.0f", median_of(p50[key]), median_of(p999[key]))
}

function row(cell, peer, ours, theirs)
{
	ours = cell SUBSEP "vhost-multi"
	theirs = cell SUBSEP peer
	printf "| %s | %s | **%s** | %s | %s | %s | %s | %s | %s | %d / %d |\n", cell, peer,
		ratios(cell, peer), spread(cost[ours]), spread(cost[theirs]),
		short(median_of(iops[ours])), short(median_of(iops[theirs])), latency(ours),
		latency(theirs), median_of(pss[ours]), median_of(pss[theirs])
}

{
	delete field
	for (i = 1; i <= NF; i++) {
		at = index($i, "=")
		field[substr($i, 1, at - 1)] = substr($i, at + 1)
	}
	cell = sprintf("%s, %s %dk, depth %d", field["medium"], field["rw"], field["bs"] / 1024,
		field["depth"])
	key = cell SUBSEP field["contender"]
	if (!(key in cost)) {
		order[++keys] = key
	}
	value[cell, field["contender"], field["round"]] = field["iops_per_cpu_s"]
	cost[key] = cost[key] " " field["iops_per_cpu_s"]
	iops[key] = iops[key] " " field["iops"]
	p50[key] = p50[key] " " field["p50_us"]
	p999[key] = p999[key] " " field["p999_us"]
	pss[key] = pss[key] " " field["pss_own_kib"]
}

END {
	print "| cell | peer | ratio of IOPS per CPU-s, ours / peer | ours: IOPS per CPU-s | peer: IOPS per CPU-s" \
		" | ours: IOPS | peer: IOPS | ours: p50 / p99.9 us | peer: p50 / p99.9 us" \
		" | PSS without shared memory, ours / peer, KiB |"
	print "|---|---|---|---|---|---|---|---|---|---|"
	for (i = 1; i <= keys; i++) {
		split(order[i], part, SUBSEP)
		if (part[2] != "vhost-multi")
			row(part[1], part[2])
	}
}
