package histcheck

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/recorder"
	"github.com/tradingflow/weather-station/shared/ids"
)

// Define reads what the checker has to know of a flow from its definition, as
// the API answers it. The anchor is not in it.
func Define(definition []byte) (Flow, error) {
	var d struct {
		Schedule string  `json:"schedule_type"`
		Seconds  float64 `json:"interval_seconds"`
		Nodes    []struct {
			ID         string         `json:"id"`
			Type       string         `json:"type"`
			Delivery   string         `json:"delivery"`
			Parameters map[string]any `json:"parameters"`
		} `json:"nodes"`
		Edges []struct {
			Source string `json:"source"`
			Target string `json:"target"`
		} `json:"edges"`
	}
	if err := json.Unmarshal(definition, &d); err != nil {
		return Flow{}, fmt.Errorf("read definition: %w", err)
	}
	f := Flow{
		Interval: time.Duration(d.Seconds*1000+0.5) * time.Millisecond, Inputs: map[ids.NodeID][]ids.NodeID{},
		AtMostOnce: map[ids.NodeID]bool{}, Writes: map[ids.NodeID]bool{}, Recorded: map[ids.NodeID]bool{},
	}
	if d.Schedule != "periodic" {
		f.Interval = 0
	}
	for _, n := range d.Nodes {
		id := ids.NodeID(n.ID)
		f.Inputs[id] = nil
		f.AtMostOnce[id] = n.Delivery == "at_most_once"
		f.Recorded[id] = n.Type == recorder.NodeType
		path, _ := n.Parameters["path"].(string)
		f.Writes[id] = n.Type == "dataset_output" && strings.HasPrefix(path, "effects/")
	}
	for _, e := range d.Edges {
		f.Inputs[ids.NodeID(e.Target)] = append(f.Inputs[ids.NodeID(e.Target)], ids.NodeID(e.Source))
	}
	return f, nil
}
