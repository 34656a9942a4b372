package ledger

import (
	"regexp"
	"slices"
	"strings"
)

// prelude is lua/prelude.lua in pieces, each a declaration at the top level. Redis
// makes every function of a script anew at each call, which was a tenth of what a claim
// costs, so a script gets the pieces that it uses and no others.
type prelude []piece

type piece struct {
	text string
	used *regexp.Regexp // any of the names it declares
}

var declaration = regexp.MustCompile(`^local (?:function )?([A-Za-z_]+(?:, [A-Za-z_]+)*)`)

// readPrelude takes the prelude apart. Comments at the top level are left out.
func readPrelude(text string) prelude {
	var p prelude
	for line := range strings.Lines(text) {
		if m := declaration.FindStringSubmatch(line); m != nil {
			p = append(p, piece{used: regexp.MustCompile(`\b(?:` + strings.ReplaceAll(m[1], ", ", "|") + `)\b`)})
		}
		if len(p) > 0 && !strings.HasPrefix(line, "--") {
			p[len(p)-1].text += line
		}
	}
	return p
}

// of returns the pieces that a text uses, and those that they use, in their order. What
// is declared later can't be used by what is declared earlier.
func (p prelude) of(text string) string {
	var used []string
	for i := len(p) - 1; i >= 0; i-- {
		if p[i].used.MatchString(text) {
			used = append(used, p[i].text)
			text += p[i].text
		}
	}
	slices.Reverse(used)
	return strings.Join(used, "")
}
