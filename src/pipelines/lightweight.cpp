#include "pipelines/lightweight.h"

#include <string_view>

#include "core/error.h"
#include "text/text.h"

namespace mr::pipelines {

namespace {

// The words of a shell text, quotes taken off; "&&", ";" and line ends are words of their own.
std::vector<std::string> words_of(std::string_view script) {
  std::vector<std::string> out;
  std::string word;
  bool any = false;
  auto end = [&] {
    if (any) out.push_back(std::exchange(word, {}));
    any = false;
  };
  for (std::size_t i = 0; i < script.size(); ++i) {
    char c = script[i];
    if (c == '\'' || c == '"') {
      any = true;
      for (++i; i < script.size() && script[i] != c; ++i) {
        if (c == '"' && script[i] == '\\' && i + 1 < script.size()) ++i;
        word += script[i];
      }
    } else if (c == '\\' && i + 1 < script.size()) {
      if (script[++i] == '\n') continue;
      word += script[i];
      any = true;
    } else if (c == ' ' || c == '\t') {
      end();
    } else if (c == '\n' || c == ';') {
      end();
      out.emplace_back(";");
    } else if (c == '&' && i + 1 < script.size() && script[i + 1] == '&') {
      end();
      out.emplace_back("&&");
      ++i;
    } else {
      word += c;
      any = true;
    }
  }
  end();
  return out;
}

// What the script's `pip install` commands ask for.
std::string requirements_of(std::string_view script) {
  auto words = words_of(script);
  std::string options, with, without;
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] != "pip" || words[i + 1] != "install") continue;
    std::vector<std::string> packages;
    bool no_deps = false;
    for (i += 2; i < words.size() && words[i] != "&&" && words[i] != ";"; ++i) {
      const auto& w = words[i];
      if (w == "--no-deps") {
        no_deps = true;
      } else if ((w == "--index-url" || w == "--extra-index-url" || w == "--find-links") && i + 1 < words.size()) {
        auto line = w + " " + words[++i] + "\n";
        if (!options.contains(line)) options += line;
      } else if (w == "--trusted-host" && i + 1 < words.size()) {
        ++i;
      } else if (!w.starts_with("-")) {
        packages.push_back(w);
      }
    }
    for (const auto& p : packages) (no_deps ? without : with) += (no_deps ? "#no-deps " : "") + p + "\n";
  }
  // Images of Python carry setuptools; old packages import pkg_resources without asking for it.
  return options + with + "setuptools<81\n" + without;
}

bool runs_executor(std::string_view bootstrap) { return bootstrap.contains("-m kfp.dsl.executor_main"); }

}  // namespace

std::optional<Lightweight> recognise(const std::vector<std::string>& c) {
  Lightweight out;
  std::size_t at = 0;
  std::string_view script;
  if (c.size() == 7 && c[0] == "sh" && c[1] == "-c") {
    script = c[2];
    if (!text::trim(script).ends_with("\"$0\" \"$@\"")) return std::nullopt;
    at = 3;
  } else if (c.size() != 4) {
    return std::nullopt;
  }
  if (c[at] != "sh" || c[at + 1] != "-ec" || !runs_executor(c[at + 2])) return std::nullopt;
  out.source = c[at + 3];
  out.requirements = requirements_of(script);
  return out;
}

const char* const kStepProgram = R"(# Carries out one component: its module and its arguments stand beside this file.
import json
import os
import runpy
import sys

folder = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(folder, "argv.json"), encoding="utf-8") as file:
    arguments = json.load(file)
os.environ["_KFP_RUNTIME"] = "true"
sys.argv = ["kfp.dsl.executor_main", "--component_module_path", os.path.join(folder, "ephemeral_component.py"), *arguments]
sys.path[0] = ""
try:
    runpy.run_module("kfp.dsl.executor_main", run_name="__main__", alter_sys=True)
except ModuleNotFoundError as error:
    if error.name == "kfp":
        sys.exit("the package kfp is not in this step's environment")
    raise
)";

}  // namespace mr::pipelines
