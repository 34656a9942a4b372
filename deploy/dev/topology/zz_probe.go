package topology

import (
	_ "github.com/alicebob/miniredis/v2"
	_ "go.etcd.io/etcd/server/v3/embed"
	_ "github.com/tradingflow/weather-station/coordinator"
	_ "github.com/tradingflow/weather-station/coordinator/client"
	_ "github.com/tradingflow/weather-station/worker"
)
