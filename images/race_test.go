//go:build race

package images_test

// detectingRaces tells that the race detector makes a push many times slower: what is
// killed at every moment without it is killed at every third with it.
const detectingRaces = true
