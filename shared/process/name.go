package process

import (
	"os"
	"strings"

	"github.com/google/uuid"
)

// InstanceName makes a name for a process that was given none: the host's name,
// cut to what ids allow, and a random part. fallback stands for a host without a
// name.
func InstanceName(fallback string) string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = fallback
	}
	host = strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}, host)
	return host[:min(len(host), 64)] + "-" + uuid.NewString()[:8]
}
