#include "serving/model_info.h"

#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <fstream>

#include "serving/types.h"
#include "text/uri.h"

namespace mr::serving {

namespace fs = std::filesystem;

namespace {

std::string scalar_of(const YAML::Node& n) { return n && n.IsScalar() ? n.as<std::string>() : std::string(); }

}  // namespace

Result<std::string> read_model_text(const std::string& folder, const std::string& relative, std::size_t limit) {
  MR_TRY(auto safe, text::safe_relative_path(relative));
  std::error_code ec;
  auto root = fs::canonical(folder, ec);
  auto file = fs::canonical(root / safe, ec);
  if (ec || !fs::is_regular_file(file, ec))
    return fail(Code::not_found, fmt::format("{} is not in the model's folder", printable(relative)));
  if (!file.string().starts_with(root.string() + "/"))
    return fail(Code::invalid_argument, fmt::format("'{}' leaves the model's folder", printable(relative)));
  if (fs::file_size(file, ec) > limit)
    return fail(Code::too_large, fmt::format("{} is larger than {} KiB", printable(relative), limit >> 10));
  std::ifstream in(file, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

Result<ModelInfo> read_model_info(const std::string& folder) {
  MR_TRY(auto text, read_model_text(folder, "MLmodel", 16U << 20));
  ModelInfo out;
  try {
    auto doc = YAML::Load(text);
    if (!doc.IsMap()) return fail(Code::invalid_argument, "MLmodel is no YAML mapping");
    if (auto flavors = doc["flavors"]; flavors && flavors.IsMap())
      for (const auto& f : flavors) {
        out.flavors.push_back(scalar_of(f.first));
        if (!f.second.IsMap()) continue;
        for (const auto& field : f.second) {
          auto key = scalar_of(field.first);
          if (key.ends_with("_version")) out.versions[key] = scalar_of(field.second);
        }
        if (out.flavors.back() == "onnx") {
          out.onnx_file = scalar_of(f.second["data"]);
          if (auto o = f.second["onnx_session_options"]; o && o.IsMap())
            for (const auto& option : o) out.onnx_options[scalar_of(option.first)] = scalar_of(option.second);
        }
        if (out.flavors.back() == "python_function") out.loader_module = scalar_of(f.second["loader_module"]);
      }
    out.mlflow_version = scalar_of(doc["mlflow_version"]);
    if (auto s = doc["signature"]; s && s.IsMap()) {
      out.inputs = scalar_of(s["inputs"]);
      out.outputs = scalar_of(s["outputs"]);
      out.params = scalar_of(s["params"]);
    }
    out.type_hint = scalar_of(doc["is_signature_from_type_hint"]) == "true";
    if (auto e = doc["saved_input_example_info"]; e && e.IsMap()) {
      out.example = scalar_of(e["artifact_path"]);
      out.serving_example = scalar_of(e["serving_input_path"]);
    }
  } catch (const YAML::Exception& e) {
    return fail(Code::invalid_argument, fmt::format("MLmodel is no valid YAML: {}", printable(e.what())));
  }
  return out;
}

}  // namespace mr::serving
