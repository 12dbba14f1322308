#include "serving/onnx/locate.h"

#include <sys/utsname.h>

#include <algorithm>
#include <filesystem>

#include "serving/model_info.h"
#include "text/text.h"
#include "text/uri.h"

namespace mr::serving::onnx {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kLibrary = "libonnxruntime.so";

std::string real_path(const fs::path& p) {
  std::error_code ec;
  auto real = fs::canonical(p, ec);
  return ec ? std::string() : real.string();
}

// libonnxruntime.so, else libonnxruntime.so.1.20.1 of the highest version.
std::string library_in(const fs::path& folder) {
  std::error_code ec;
  if (fs::is_regular_file(folder / kLibrary, ec)) return real_path(folder / kLibrary);
  std::vector<std::pair<std::vector<std::int64_t>, fs::path>> found;
  for (fs::directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec)) {
    auto name = it->path().filename().string();
    if (!name.starts_with(std::string(kLibrary) + ".")) continue;
    std::vector<std::int64_t> version;
    bool numbers = true;
    for (auto part : text::split(std::string_view(name).substr(kLibrary.size() + 1), '.')) {
      auto n = text::to_i64(part);
      numbers = numbers && n;
      version.push_back(n ? *n : 0);
    }
    if (numbers) found.emplace_back(std::move(version), it->path());
  }
  return found.empty() ? std::string() : real_path(std::max_element(found.begin(), found.end())->second);
}

bool is_onnx(const fs::path& p) {
  std::error_code ec;
  return p.extension() == ".onnx" && fs::is_regular_file(p, ec);
}

// model.onnx, or the one *.onnx of a folder.
std::string onnx_in(const fs::path& folder) {
  std::error_code ec;
  if (is_onnx(folder / "model.onnx")) return "model.onnx";
  std::vector<std::string> found;
  for (fs::directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec))
    if (is_onnx(it->path())) found.push_back(it->path().filename().string());
  return found.size() == 1 ? found[0] : std::string();
}

OnnxModel bare(const fs::path& folder, std::string file) {
  OnnxModel out;
  out.folder = real_path(folder);
  out.file = std::move(file);
  return out;
}

}  // namespace

Result<std::optional<OnnxModel>> find_model(const std::string& path) {
  std::error_code ec;
  const fs::path p(path);
  if (is_onnx(p)) {
    auto out = bare(p.parent_path().empty() ? fs::path(".") : p.parent_path(), p.filename().string());
    out.alone = true;
    return out;
  }
  if (!fs::is_directory(p, ec)) return std::nullopt;
  if (fs::exists(p / "MLmodel", ec)) {
    auto info = read_model_info(path);
    if (!info || info->loader_module != "mlflow.onnx") return std::nullopt;  // whoever reads it next says what is wrong
    OnnxModel out;
    auto safe = text::safe_relative_path(info->onnx_file);
    auto root = real_path(p);
    auto file = safe ? real_path(p / *safe) : std::string();
    if (file.empty())
      return fail(Code::invalid_argument,
                  fmt::format("the model file '{}' is not in the model's folder", printable(info->onnx_file)));
    if (!file.starts_with(root + "/"))
      return fail(Code::invalid_argument, fmt::format("'{}' leaves the model's folder", printable(info->onnx_file)));
    out.folder = root;
    out.file = file.substr(root.size() + 1);
    out.described = true;
    out.options = info->onnx_options;
    MR_TRY(out.signature, parse_signature(info->inputs, info->outputs));
    return out;
  }
  if (auto file = onnx_in(p); !file.empty()) return bare(p, std::move(file));
  std::int64_t best = -1;
  fs::path folder;
  for (fs::directory_iterator it(p, ec), end; !ec && it != end; it.increment(ec))
    if (auto n = text::to_i64(it->path().filename().string()); n && *n > best && !onnx_in(it->path()).empty()) {
      best = *n;
      folder = it->path();
    }
  if (best < 0) return std::nullopt;
  return bare(folder, onnx_in(folder));
}

Result<std::string> library_at(const std::string& path) {
  std::error_code ec;
  auto found = fs::is_directory(path, ec)      ? library_in(path)
               : fs::is_regular_file(path, ec) ? real_path(path)
                                               : std::string();
  if (found.empty()) return fail(Code::not_found, fmt::format("there is no {} at {}", kLibrary, printable(path)));
  return found;
}

std::string system_library() {
  utsname machine{};
  ::uname(&machine);
  for (const auto& folder : {std::string("/usr/local/lib"), fmt::format("/usr/lib/{}-linux-gnu", machine.machine),
                             std::string("/usr/lib64"), std::string("/usr/lib"), std::string("/opt/onnxruntime/lib")})
    if (auto found = library_in(folder); !found.empty()) return found;
  return {};
}

std::string library_of_environment(const std::string& environment, int python_minor) {
  return library_in(fmt::format("{}/lib/python3.{}/site-packages/onnxruntime/capi", environment, python_minor));
}

bool asks_for_onnxruntime(std::string_view requirements) {
  for (auto line : text::split(requirements, '\n')) {
    line = text::trim(line);
    constexpr std::string_view kName = "onnxruntime";
    if (!line.starts_with(kName)) continue;
    auto rest = line.substr(kName.size());
    // Not onnxruntime-gpu and the like, whose libraries need more than themselves.
    if (rest.empty() || std::string_view("=<>~!;[ ").find(rest[0]) != std::string_view::npos) return true;
  }
  return false;
}

}  // namespace mr::serving::onnx
