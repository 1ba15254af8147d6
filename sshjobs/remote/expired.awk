# Which tombstones have expired, and which keys all of whose attempts have.
# In: paths, a line each; now. Out: those that may go.

$0 !~ /^gone\/[a-z2-7]+$/ && $0 !~ /^keys\/[0-9a-f]+\/[0-9]+$/ { next }
{
    folder = $0
    sub(/\/[0-9]+$/, "", folder)
    read_record($0)
    if (F["until"] + 0 && F["until"] + 0 < now) old[$0] = folder
    else fresh[folder]
}
END { for (path in old) if (!(old[path] in fresh)) print path }
