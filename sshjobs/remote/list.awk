# What stands among the job directories.
# In: the lines of ls -lnR jobs; uid. Out: questions for check.awk (l ID SIZE), and lines of
# o NAME REASON about what is none of ours.

/^jobs\/[^\/]*:$/ { d = substr($0, 6, length($0) - 6); next }
/^jobs:$/ { d = ""; next }
NF < 9 { next }
d == "" {
    # mawk 1.3.4 has no intervals ({8}) in patterns.
    name = $0
    for (i = 1; i < 9; i++) sub(/^[^ ]+ +/, "", name)
    if (/^l/) sub(/ -> .*$/, "", name)
    if (name ~ /^[a-z2-7]+$/ && length(name) == 16) {
        if (/^d/ && $3 == uid) order[++n] = name
        else if (/^d/) odd[name] = "not a directory of ours"
        else if (/^l/) odd[name] = "a symbolic link"
        else odd[name] = "not a directory"
    } else {
        gsub(/[^!-~]/, "?", name)
        odd[name] = "not the name of a job"
    }
    next
}
$9 == "log" && /^-/ { size[d] = $5 }
$9 == "stderr" && /^-/ { second[d] = $5 }
END {
    for (i = 1; i <= n; i++) {
        printf "l %s %.0f", order[i], size[order[i]]
        if (order[i] in second) printf "+%.0f", second[order[i]]
        print ""
    }
    for (o in odd) print "o " o " " odd[o]
}
