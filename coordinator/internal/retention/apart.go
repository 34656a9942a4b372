package retention

import (
	"context"
	"errors"

	"github.com/tradingflow/weather-station/shared/ledger"
)

// ends reports whether an error is of the ledger as a whole, and not of a cycle.
func ends(err error) bool {
	return ledger.Fenced(err) || errors.Is(err, ledger.ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// apart does a page of cycles, and where that fails of one of them does each by itself, so that
// it keeps no other. It reports with how many, from the first on, all is done.
func apart(page []int64, do func([]int64) (int, error)) (done int, err error) {
	done, err = do(page)
	if err == nil || len(page) == 1 || ends(err) {
		return done, err
	}
	var faults []error
	done = 0
	for i := range page {
		n, err := do(page[i : i+1])
		if ends(err) {
			return done, err
		}
		faults = append(faults, err)
		if err == nil && n == 1 && done == i {
			done++
		}
	}
	return done, errors.Join(faults...)
}
