package process

import "regexp"

var (
	// Up to the last @ before a blank or quote: a password may hold any other
	// sign, and hiding too much is the better fault.
	urlPassword = regexp.MustCompile(`(://[^/?#\s"'@:]*):[^\s"']*@`)
	urlSecret   = regexp.MustCompile(`(?i)([?&;][a-z0-9_-]*(?:password|passwd|secret|token|api_?key)=)[^&;#\s"']*`)
)

// Redact replaces the passwords of all URLs in a text, and the values of query
// parameters that are named like secrets, by xxxxx.
func Redact(text string) string {
	text = urlPassword.ReplaceAllString(text, "$1:xxxxx@")
	return urlSecret.ReplaceAllString(text, "${1}xxxxx")
}
