"""Mutants of the control strategies: kind -> name -> fault."""

from parity_tests.mutants.ways import edited

SHARE = "control.controlled:share"
BLEND = "control.output_blend:OutputBlend.stage"

STRATEGIES = {
    "strategy": {
        "the first objective's share": edited(SHARE, ("second / ", "first / ")),
        "a is the second number itself": edited(SHARE, ("second = rows[:, :1]", "second = 1 - rows[:, 1:]")),
        "tuning behind the block before": edited(
            "control.dynet:DyNet.block",
            ("y = self.body[place](y)", "x, y = y, self.body[place](y)"),
            ("tuning[place](y)", "tuning[place](x)"),
        ),
        "tuning instead of adding": edited("control.dynet:DyNet.block", ("else y + omega", "else omega")),
        "borders of zeros": edited(
            "control.dynet:TuningBlock.forward", ('ops.pad(x, (1, 1), "reflect")', 'ops.pad(x, (1, 1), "constant")')
        ),
        "main branch unweighted": edited("control.cfsnet:CFSNet.block", ("(1 - omega[place]) * main", "main")),
        "the coupling of another block": edited(
            "control.cfsnet:CFSNet.block", ("omega[place] * self", "omega[place - 1] * self")
        ),
        "couplings without a": edited("control.cfsnet:CFSNet.mixed_at", ("[a * coupling", "[(a * 0 + 1) * coupling")),
        "the end of super-resolution unmixed": edited(
            "control.cfsnet:CFSNet.stage", ("(1 - part) * main + part * tuned", "main")
        ),
        "an unscaled residual": edited(
            "control.cresmd:ScaledBlock.forward", ("value_at(self.scale, omega) * self", "self")
        ),
        "a scaled block without its input": edited("control.cresmd:ScaledBlock.forward", ("x + value_at", "value_at")),
        "an unscaled end": edited(
            "control.cresmd:CResMD.stage",
            ("value_at(self.scale_tail, enlarged(omega, self.upscale)) * features[1]", "features[1]"),
        ),
        "modulated in place of adding": edited("control.adafm:modulated", ("y + a * layer(y)", "a * layer(y)")),
        "one of two modulations": edited(
            "control.adafm:ModulatedBlock.forward", ("modulated(self.conv2(y), self.modulate2, omega)", "self.conv2(y)")
        ),
        "a blend not divided by its sum": edited(BLEND, ("/ total * ", "* ")),
        "a blend of the first two alone": edited(BLEND, ("range(1, len(self.ends))", "range(1, 2)")),
        "nu is one": edited(BLEND, ("* self.nu * ", "* ")),
    }
}  # fmt: skip
