#!/usr/bin/env bash
# Turn an exported model into one for Ascend. NOT RUN: written from the documentation of MindSpore Lite 2.10 and of
# CANN's ATC; no Ascend machine was at hand.
#
#     tools/ascend/convert.sh net.mindir net_ascend     MindSpore Lite: net_ascend.mindir, a compiled model inside it
#     SOC=Ascend310P3 tools/ascend/convert.sh net.onnx net_ascend     ATC: net_ascend.om
#
# Sizes stand in om.cfg, and below for ATC; a file of `tunable export --size HxW` has that size alone: write it in the
# place of both -1, and leave the list of sizes out. Compare the result with `tunable restore` before trusting it.
set -euo pipefail
model=${1:?usage: convert.sh MODEL.mindir|MODEL.onnx OUT}
out=${2:?usage: convert.sh MODEL.mindir|MODEL.onnx OUT}
here=$(cd "$(dirname "$0")" && pwd)

case $model in
*.mindir)
    converter_lite --fmk=MINDIR --modelFile="$model" --outputFile="$out" \
        --saveType=MINDIR --optimize=ascend_oriented --configFile="$here/om.cfg"
    ;;
*.onnx)
    # A folded model has no omega: take it out of --input_shape.
    atc --framework=5 --model="$model" --output="$out" --soc_version="${SOC:?the chip, such as Ascend310P3}" \
        --input_format=NCHW --input_shape="image:1,3,-1,-1;omega:1,2" --dynamic_image_size="256,256;512,512;512,768" \
        --precision_mode_v2=origin
    ;;
*)
    echo "convert.sh: wants a .mindir or an .onnx file, not $model" >&2
    exit 2
    ;;
esac
