#!/bin/sh
# The 1080p H.264 clip that the studies run on: vtest.avi (OpenCV's samples) scaled by ffmpeg.
#
#   sh benchmarks/studies/make_clip.sh vtest.avi clip.mp4 [SECONDS]
set -eu
input=$1 output=$2 seconds=${3:-30}
exec ffmpeg -hide_banner -loglevel error -y -t "$seconds" -i "$input" -vf scale=1920:1080:flags=bicubic \
    -c:v libx264 -preset medium -crf 23 -g 30 -pix_fmt yuv420p -threads 2 "$output"
