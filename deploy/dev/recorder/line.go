package recorder

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Events of a line.
const (
	Start = "start"
	End   = "end"
)

// Results of an execution that ended.
const (
	OK        = "ok"
	Failed    = "failed"
	Abandoned = "abandoned" // its context ended
)

// Line is one line of the log. The recorder sets Seq and At.
type Line struct {
	Seq     int64        `json:"seq"`
	At      int64        `json:"at"` // microseconds since 1970
	Event   string       `json:"event"`
	Flow    ids.FlowID   `json:"flow"`
	Slot    int64        `json:"slot"` // milliseconds since 1970
	Cycle   int64        `json:"cycle"`
	Node    ids.NodeID   `json:"node"`
	Attempt int          `json:"attempt"`
	Worker  ids.WorkerID `json:"worker"`
	Intent  uuid.UUID    `json:"intent"`
	Result  string       `json:"result,omitempty"`
}

// Time returns when the recorder wrote the line.
func (l Line) Time() time.Time { return time.UnixMicro(l.At).UTC() }

// Read returns the lines of a log; none when there is no file. A last line that
// is not whole was never answered and is left out.
func Read(path string) ([]Line, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read recorder's log: %w", err)
	}
	defer func() { _ = f.Close() }()
	var out []Line
	for r := bufio.NewReader(f); ; {
		text, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read recorder's log: %w", err)
		}
		var l Line
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, fmt.Errorf("recorder's log, line %d: %w", len(out)+1, err)
		}
		out = append(out, l)
	}
}
