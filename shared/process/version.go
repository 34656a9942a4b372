package process

import "runtime/debug"

// version is set by the linker:
// -X github.com/tradingflow/weather-station/shared/process.version=v1.2.3
var version string

// Version names the build: the linker's version, else that of the module, with
// the commit if the build knows it.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return describe(version, info)
}

func describe(v string, info *debug.BuildInfo) string {
	if v == "" {
		v = info.Main.Version
	}
	if v == "" {
		v = "(devel)"
	}
	settings := make(map[string]string, len(info.Settings))
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	commit := settings["vcs.revision"]
	if commit == "" {
		return v
	}
	v += " (" + commit[:min(12, len(commit))]
	if settings["vcs.modified"] == "true" {
		v += ", modified"
	}
	return v + ")"
}
