package main

import (
	"fmt"
	"strings"
)

// bar tells a person how far a long command is: one line that is drawn anew on a
// terminal, a line for each step elsewhere.
type bar struct {
	a     *app
	drawn bool
}

func (a *app) bar() *bar { return &bar{a: a} }

const barWidth = 24

// show tells that a step begins.
func (b *bar) show(done, total int, what string) {
	if !b.a.tells {
		fmt.Fprintf(b.a.err, "%d/%d %s\n", done+1, total, clean(what))
		return
	}
	full := barWidth * done / max(total, 1)
	fmt.Fprintf(b.a.err, "\r\x1b[K[%s%s] %d/%d %s", strings.Repeat("█", full), strings.Repeat("░", barWidth-full), done+1, total, clean(what))
	b.drawn = true
}

// clear takes the line away.
func (b *bar) clear() {
	if b.drawn {
		fmt.Fprint(b.a.err, "\r\x1b[K")
	}
}
