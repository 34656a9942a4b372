package dev_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tradingflow/weather-station/shared/sourcetest"
)

const maxLines = 400

func TestSource(t *testing.T) {
	m := sourcetest.Load(t)
	m.Walls(t, []sourcetest.Wall{
		{Packages: []string{"./deploy/dev/..."}, Direct: true, Forbid: []string{"github.com/rabbitmq/amqp091-go"}, Why: "package rabbit is the only door to RabbitMQ"},
		{Packages: []string{"./deploy/dev/topology", "./deploy/dev/cmd/..."}, Direct: true, Forbid: []string{"github.com/redis/go-redis/..."}, Why: "package ledger is the only door to Redis"},
		{Packages: []string{"./deploy/dev/samples"}, Forbid: []string{"./coordinator/...", "./worker/...", "./shared/..."}, Why: "samples are data"},
		{Packages: []string{"./deploy/dev/topology", "./deploy/dev/cmd/..."}, Direct: true, Why: "programs use no test library but the embedded Redis",
			Forbid: []string{"testing", "github.com/google/go-cmp/...", "pgregory.net/rapid/...", "go.uber.org/goleak/..."}},
	})
	m.Lengths(t, maxLines)
}

// TestTopLevel: the project's top has these entries and no others, but for dot files and
// what is built or run there. A binary that is committed by mistake shows here.
func TestTopLevel(t *testing.T) {
	known := []string{"coordinator", "worker", "shared", "deploy", "scripts", "go.work", "go.work.sum", "Makefile", "README.md", "LICENSE", "CHANGELOG.md", "bin"}
	all, err := os.ReadDir("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(known, e.Name()) {
			t.Errorf("%s stands at the top: move it, or throw it away", e.Name())
		}
	}
}
