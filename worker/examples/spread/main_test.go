package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tradingflow/weather-station/worker/node"
)

func TestSpread(t *testing.T) {
	in := &node.Input{Parameters: json.RawMessage(`{"bid": 1}`),
		Values: map[string]json.RawMessage{"bid": json.RawMessage("100"), "ask": json.RawMessage("100.5")}}
	res, err := spread(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"spread": 0.5, "bps": 50.0}, res.Outputs); diff != "" {
		t.Error(diff)
	}
	for want, parameters := range map[string]string{"ask": `{"bid": 1}`, "bid": `{"ask": 1}`, "no market": `{"bid": 2, "ask": 1}`} {
		_, err := spread(t.Context(), &node.Input{Parameters: json.RawMessage(parameters)})
		if !node.IsPermanent(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want a permanent error with %q", parameters, err, want)
		}
	}
}
