"""Synthesis: what the emitted Verilog takes on a chip, found by Yosys and nextpnr."""
