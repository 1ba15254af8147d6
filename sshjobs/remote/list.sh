# Lists every job directory, and what else stands among them.
# In: jobs/. Out: frames listed, odd, and those of judge.

# Every directory entry; ls -R does not follow symbolic links.
sj_list() {
    sj_uid=$(id -u)
    # shellcheck disable=SC2012 # names that are not ours are only counted as odd
    sj_out=$(ls -lnR jobs 2>/dev/null | awk -v uid="$sj_uid" '
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
        END {
            for (i = 1; i <= n; i++) printf "l %s %.0f\n", order[i], size[order[i]]
            for (o in odd) print "o " o " " odd[o]
        }')
    printf '%s\n' "$sj_out" | sed -n 's/^o /odd /p'
    sj_tail='' sj_judge '' "$sj_out" || sj_broken='awk or find'
}
