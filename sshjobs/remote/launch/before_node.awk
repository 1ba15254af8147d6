# What a runner does with a job that comes after others, as their records say.
# In: words, ID:ok and ID:any. Out: open, ready, or never and the reason. A record that is not
# there may come late to a node, and is no evidence.

BEGIN {
    find_odd(list_before(words))
    s = weigh_before(words)
    print s ~ /:unknown$/ ? "open" : s ~ /:/ ? "never " tell_never(s) : s
}
