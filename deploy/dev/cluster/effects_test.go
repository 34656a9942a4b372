package cluster

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/deploy/dev/histcheck"
	"github.com/tradingflow/weather-station/shared/ids"
)

// readEffects reads what output nodes wrote: effects/<flow>/<node>.jsonl.
func readEffects(data string) ([]histcheck.Effect, error) {
	files, err := filepath.Glob(filepath.Join(data, "effects", "*", "*.jsonl"))
	if err != nil {
		return nil, err
	}
	var out []histcheck.Effect
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		node := strings.TrimSuffix(filepath.Base(name), ".jsonl")
		lines := bufio.NewScanner(bytes.NewReader(text))
		for lines.Scan() {
			var l struct {
				Flow   ids.FlowID `json:"flow"`
				Cycle  int64      `json:"cycle"`
				Intent uuid.UUID  `json:"intent_id"`
			}
			if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			out = append(out, histcheck.Effect{Flow: l.Flow, Cycle: l.Cycle, Node: ids.NodeID(node), Intent: l.Intent})
		}
	}
	return out, nil
}

// readRuns reads what witnesses wrote down, one line for each run.
func readRuns(data string) ([]histcheck.Run, error) {
	text, err := os.ReadFile(filepath.Join(data, "exec", "runs"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []histcheck.Run
	for line := range strings.Lines(string(text)) {
		var r histcheck.Run
		var intent string
		if _, err := fmt.Sscan(line, &r.Flow, &r.Cycle, &r.Node, &r.Attempt, &intent); err != nil {
			return nil, fmt.Errorf("runs: %q: %w", line, err)
		}
		if r.Intent, err = uuid.Parse(intent); err != nil {
			return nil, fmt.Errorf("runs: %q: %w", line, err)
		}
		out = append(out, r)
	}
	return out, nil
}
