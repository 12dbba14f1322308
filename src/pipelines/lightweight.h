// Lightweight Python components: what the SDK puts into argv is recognised and carried out without a shell and without
// pip. Pure functions. Source: commands compiled by kfp 2.7 to 2.17 (kfp-ir, section 9).
#pragma once
#include <optional>
#include <string>
#include <vector>

namespace mr::pipelines {

struct Lightweight {
  std::string source;        // the component's module
  std::string requirements;  // for the node: one a line; "#no-deps X" is installed without what it depends on
};
// nullopt: another shape of command, to be run as it is.
std::optional<Lightweight> recognise(const std::vector<std::string>& command);

// What a step begins with, for an interpreter that stands by (node/warm.h): the SDK's executor, without the part of the
// SDK that a step never needs.
inline constexpr const char* kWarmImports =
    "_KFP_RUNTIME=true kfp.dsl.executor kfp.dsl.kfp_config kfp.dsl.utils argparse inspect";

// The program that carries a component's module out: reads argv.json and ephemeral_component.py beside itself.
extern const char* const kStepProgram;

}  // namespace mr::pipelines
