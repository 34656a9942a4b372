package ledger

// Verbs names the scripts by the hash under which Redis knows them, for those who
// read its statistics, its SLOWLOG or what MONITOR shows.
func Verbs() (map[string]string, error) {
	scripts, err := loadScripts()
	if err != nil {
		return nil, err
	}
	verbs := make(map[string]string, len(scripts))
	for name, s := range scripts {
		verbs[s.full.Hash()] = name
	}
	return verbs, nil
}
