package clockshim_test

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/clockshim"
)

func TestClock(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("there is no gcc here")
	}
	c, err := clockshim.New(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []time.Duration{0, time.Hour, -time.Hour, 0} {
		if err := c.Set(off); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("date", "+%s")
		cmd.Env = append(os.Environ(), c.Env()...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		s, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Unix(s, 0).Sub(time.Now().Add(off)); d < -5*time.Second || d > 5*time.Second {
			t.Errorf("a clock that is %s off is %s off that", off, d)
		}
	}
}
