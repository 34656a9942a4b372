package worker

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are a worker's own, in a registry of their own.
type metrics struct {
	registry  *prometheus.Registry
	attempts  *prometheus.HistogramVec
	by        sync.Map // of attempts, by status
	abandoned prometheus.Gauge
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		attempts: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "station_worker_attempt_seconds", Help: "Run time of attempts by how they ended.",
			Buckets: []float64{.001, .005, .01, .05, .1, .5, 1, 5, 30, 300},
		}, []string{"status"}),
		abandoned: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "station_worker_abandoned_handlers", Help: "Handlers that did not return when their context ended, and still run.",
		}),
	}
	m.registry.MustRegister(m.attempts, m.abandoned)
	return m
}

// ran is called for every task, and to find its histogram costs more than to add to it.
func (m *metrics) ran(status string, took time.Duration) {
	o, known := m.by.Load(status)
	if !known {
		o, _ = m.by.LoadOrStore(status, m.attempts.WithLabelValues(status))
	}
	o.(prometheus.Observer).Observe(took.Seconds())
}

func (m *metrics) abandon() func() {
	m.abandoned.Inc()
	return m.abandoned.Dec
}
