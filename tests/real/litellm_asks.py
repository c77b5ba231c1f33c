"""Run by LiteLLM's own Python: reads an exported configuration as its proxy does, asks each model named on the command
line through the router that the proxy would build, and prints who answered, as JSON."""

import json
import sys
from pathlib import Path

import yaml
from litellm import Router
from litellm.proxy._types import ConfigYAML

document = yaml.safe_load(Path(sys.argv[1]).read_text())
config = ConfigYAML(**document)
unknown = set(document) - set(ConfigYAML.model_fields)
router = Router(model_list=document["model_list"], **document["router_settings"])
answers = {}
for name in sys.argv[2:]:
    question = [{"role": "user", "content": "hi"}]
    answer = router.completion(model=name, messages=question, max_tokens=4)
    answers[name] = answer._hidden_params["api_base"]
print(json.dumps({"names": sorted(router.get_model_names()), "unknown": sorted(unknown), "answers": answers}))
