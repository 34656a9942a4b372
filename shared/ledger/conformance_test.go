package ledger_test

import (
	"testing"

	"github.com/tradingflow/weather-station/shared/ledger/ledgertest"
)

func TestConformance(t *testing.T) {
	for name, start := range servers() {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			ledgertest.Run(t, func(t *testing.T) ledgertest.Ledger { return s.open(t) })
		})
	}
}
