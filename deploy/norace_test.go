//go:build !race

package deploy_test

// detectingRaces tells that the race detector makes everything ten times slower.
const detectingRaces = false
