#include "serving/load.h"

#include <filesystem>

#include "serving/model_info.h"

namespace mr::serving {

bool may_be_served_elsewhere(const Error& e) { return e.code == Code::unimplemented || e.reason == "symbol"; }

namespace {

Result<LoadedModel> load_by_python(const std::string& path, const LoadOptions& options) {
  std::error_code ec;
  if (!std::filesystem::is_directory(path, ec))
    return fail(Code::failed_precondition,
                "a bare model file names no environment: a Python worker serves MLflow model folders");
  MR_TRY(auto info, read_model_info(path));
  if (info.loader_module.empty())
    return fail(Code::failed_precondition, "MLmodel has no python_function flavor, which a Python worker loads");
  LoadedModel out;
  MR_TRY(out.signature, parse_signature(info.inputs, info.outputs));
  PythonModel model{std::filesystem::canonical(path, ec).string(), out.signature, options.log, options.env,
                    options.memory};
  MR_TRY(out.engine, options.python->start(model));
  if (auto at = info.versions.find("sklearn_version"); at != info.versions.end()) out.sklearn_version = at->second;
  return out;
}

}  // namespace

Result<LoadedModel> load_served(const std::string& path, const LoadOptions& options) {
  if (options.engine == EngineChoice::python) {
    if (!options.python) return fail(Code::failed_precondition, "this program has no Python workers");
    std::error_code ec;
    if (!std::filesystem::exists(path, ec)) return fail(Code::not_found, fmt::format("there is no model at {}", path));
    return load_by_python(path, options);
  }
  auto native = load_model(path);
  if (native || options.engine == EngineChoice::native || !options.python || !may_be_served_elsewhere(native.error()))
    return native;
  std::error_code ec;
  if (!std::filesystem::exists(path + "/MLmodel", ec)) return native;
  if (options.log) options.log(fmt::format("no native engine serves it ({})", native.error().message));
  auto python = load_by_python(path, options);
  if (python) return python;
  auto e = python.error();
  e.message = fmt::format("{}; no native engine serves it either: {}", e.message, native.error().message);
  return std::unexpected(std::move(e));
}

}  // namespace mr::serving
