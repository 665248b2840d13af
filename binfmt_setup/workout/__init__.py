"""The workout: what an emulator can do of what builds ask of it, found out by doing it.

`programs` has the programs, one for each target, with one exercise in each process. `running`
has them run by `stage`, in the `sandbox`: as probes are kept, but with a scratch folder, /proc
and more time. `judging` compares with the same exercises run natively, which are the control.
"""
