import { configureGlobal } from 'fast-check'

// what is asked is whether a mutant is noticed, not the smallest case in which it is; and the same in every run
configureGlobal({ endOnFailure: true, seed: 34 })
