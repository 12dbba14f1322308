#include "serving/load.h"

#include <filesystem>
#include <set>
#include <string_view>

#include "serving/model_info.h"
#include "serving/onnx/locate.h"

namespace mr::serving {

namespace {

// Names that no library's model file has, and that files made to do harm are known for. A sandbox would hold them; but
// nobody should serve such a file without having said so.
bool known_for_harm(std::string_view symbol) {
  static const std::set<std::string_view> modules{
      "os",    "posix",  "nt",     "subprocess",      "sys",     "socket",   "shutil", "ctypes", "pty",    "importlib",
      "runpy", "code",   "pip",    "multiprocessing", "asyncio", "commands", "pdb",    "bdb",    "timeit", "webbrowser",
      "http",  "urllib", "ftplib", "smtplib",         "pickle",  "_pickle",  "marshal"};
  static const std::set<std::string_view> builtins{"eval",  "exec",  "compile",  "__import__", "open",
                                                   "input", "apply", "execfile", "breakpoint"};
  auto dot = symbol.find('.');
  if (dot == std::string_view::npos) return false;
  auto top = symbol.substr(0, dot);
  if (top == "builtins" || top == "__builtin__") return builtins.contains(symbol.substr(dot + 1));
  return modules.contains(top);
}

}  // namespace

bool may_be_served_elsewhere(const Error& e) {
  return e.code == Code::unimplemented || (e.reason == "symbol" && !known_for_harm(e.detail));
}

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
  out.signature.type_hint = info.type_hint;
  PythonModel model{std::filesystem::canonical(path, ec).string(), out.signature, options.log, options.env,
                    options.memory};
  MR_TRY(out.engine, options.python->start(model));
  if (auto at = info.versions.find("sklearn_version"); at != info.versions.end()) out.sklearn_version = at->second;
  return out;
}

Result<LoadedModel> load_by_onnx(OnnxModel model, const LoadOptions& options) {
  if (!options.onnx) return fail(Code::unimplemented, "this program runs no ONNX models");
  model.log = options.log;
  model.memory = options.memory;
  return options.onnx->start(model);
}

}  // namespace

Result<LoadedModel> load_served(const std::string& path, const LoadOptions& options) {
  if (options.engine == EngineChoice::python) {
    if (!options.python) return fail(Code::failed_precondition, "this program has no Python workers");
    std::error_code ec;
    if (!std::filesystem::exists(path, ec)) return fail(Code::not_found, fmt::format("there is no model at {}", path));
    return load_by_python(path, options);
  }
  MR_TRY(auto onnx, onnx::find_model(path));
  auto native = onnx ? load_by_onnx(std::move(*onnx), options) : load_model(path);
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
