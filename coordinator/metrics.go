package coordinator

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/tradingflow/weather-station/coordinator/internal/leader"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// meters is the registry of a process.
type meters struct{ registry *prometheus.Registry }

func newMeters(flows func() int) *meters {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "station_flows", Help: "Flows that this coordinator knows; fewer than there are while it loads them."},
			func() float64 { return float64(flows()) }))
	return &meters{r}
}

// metrics are those of one partition.
type metrics struct {
	leading  prometheus.Gauge
	epoch    prometheus.Gauge
	started  prometheus.Counter
	offered  prometheus.Counter
	late     prometheus.Histogram
	fenced   prometheus.Counter
	heldBack prometheus.Counter
	mended   *prometheus.CounterVec
	closed   *prometheus.CounterVec
	took     prometheus.Histogram
}

// of makes the metrics of a partition. Where there are several, its number is their
// label.
func (r *meters) of(l *ledger.Ledger, partition, count int) *metrics {
	m := &metrics{
		leading: prometheus.NewGauge(prometheus.GaugeOpts{Name: "station_leading", Help: "1 while this coordinator leads."}),
		epoch:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "station_epoch", Help: "Fencing number of this coordinator's last leadership."}),
		started: prometheus.NewCounter(prometheus.CounterOpts{Name: "station_cycles_started_total", Help: "Cycles that slots began, as this leader saw it."}),
		offered: prometheus.NewCounter(prometheus.CounterOpts{Name: "station_tasks_offered_total", Help: "Tasks published and confirmed."}),
		late: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "station_slot_lateness_seconds", Help: "How late cycles start after their slot.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 30, 300}}),
		fenced:   prometheus.NewCounter(prometheus.CounterOpts{Name: "station_fenced_total", Help: "Leaderships ended because the ledger refused a write by its epoch."}),
		heldBack: prometheus.NewCounter(prometheus.CounterOpts{Name: "station_publishes_held_back_total", Help: "Tasks that were not published because another coordinator led by then."}),
		mended:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "station_repairs_total", Help: "What the audit put back, by kind. 0 while Redis and RabbitMQ lose nothing."}, []string{"kind"}),
		closed:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "station_cycles_ended_total", Help: "Cycles ended, by final status."}, []string{"status"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "station_cycle_seconds", Help: "From start to end of cycles.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60, 600}}),
	}
	var to prometheus.Registerer = r.registry
	if count > 1 {
		to = prometheus.WrapRegistererWith(prometheus.Labels{"partition": strconv.Itoa(partition)}, to)
	}
	to.MustRegister(m.leading, m.epoch, m.started, m.offered, m.late, m.fenced, m.heldBack, m.mended, m.closed, m.took, refusedWrites{l})
	return m
}

// leader returns what a leader counts with, and who hears of ended cycles; nil
// functions hear nothing.
func (m *metrics) leader(hear ...func(ledger.CycleState)) leader.Metrics {
	return leader.Metrics{
		Started:  m.started.Inc,
		Fenced:   m.fenced.Inc,
		HeldBack: func(n int) { m.heldBack.Add(float64(n)) },
		Late:     func(d time.Duration) { m.late.Observe(d.Seconds()) },
		Offered:  func(n int) { m.offered.Add(float64(n)) },
		Mended:   func(kind string) { m.mended.WithLabelValues(kind).Inc() },
		Closed: func(c ledger.CycleState) {
			m.closed.WithLabelValues(c.Status).Inc()
			m.took.Observe(c.CompletedAt.Sub(c.StartedAt).Seconds())
			for _, h := range hear {
				if h != nil {
					h(c)
				}
			}
		},
	}
}

// refusedWrites tells what the ledger refused this process by its epoch.
type refusedWrites struct{ ledger *ledger.Ledger }

var refusedDesc = prometheus.NewDesc("station_fenced_writes_total", "Calls of the ledger that were refused because a higher epoch had written, by verb.", []string{"verb"}, nil)

// Describe implements prometheus.Collector.
func (r refusedWrites) Describe(out chan<- *prometheus.Desc) { out <- refusedDesc }

// Collect implements prometheus.Collector.
func (r refusedWrites) Collect(out chan<- prometheus.Metric) {
	for verb, n := range r.ledger.Refused() {
		out <- prometheus.MustNewConstMetric(refusedDesc, prometheus.CounterValue, float64(n), verb)
	}
}
