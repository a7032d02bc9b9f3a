import time, json
from dataclasses import replace
from edgevision.converters.convert import convert
from edgevision.progress import Progress
def test_it(converted, order, tmp_path, data):
    for m in converted.made:
        print(m.variant.id, m.proof and m.proof.agreement, m.written, [(t.candidate.name,t.score) for t in m.trials])
        print(m.quantized and m.quantized["float"])
    t=time.time(); 
    try: c=convert(order(tmp_path/"a.evb", calibration=data/"faint.avi", least=1.0), Progress(quiet=True)); print("pass")
    except Exception as e: print(e)
    print(time.time()-t)
