#include "serving/python/environment.h"

#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <fstream>

#include "crypto/digest.h"
#include "serving/model_info.h"
#include "serving/types.h"
#include "text/text.h"
#include "text/uri.h"

namespace mr::serving::python {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMaxFile = 1 << 20;
constexpr std::size_t kMaxLines = 2000;
constexpr std::size_t kMaxLists = 16;
constexpr std::size_t kMaxWheel = std::size_t{512} << 20;

Result<std::string> small_file(const fs::path& path) {
  std::error_code ec;
  if (!fs::is_regular_file(path, ec)) return fail(Code::not_found, path.filename().string());
  if (fs::file_size(path, ec) > kMaxFile)
    return fail(Code::too_large, fmt::format("{} is larger than a list of packages", path.filename().string()));
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

std::string scalar(const YAML::Node& n) { return n && n.IsScalar() ? n.as<std::string>() : std::string(); }

// A wheel inside the model's folder, with its digest, so that another wheel of that name is another environment.
Result<std::string> wheel(const fs::path& folder, std::string_view line) {
  auto relative = text::safe_relative_path(std::string(line));
  std::error_code ec;
  auto root = fs::canonical(folder, ec);
  auto file = relative ? fs::canonical(folder / *relative, ec) : fs::path();
  if (!relative || ec || !file.string().starts_with(root.string() + "/") || !fs::is_regular_file(file, ec) ||
      fs::file_size(file, ec) > kMaxWheel)
    return fail(Code::invalid_argument,
                fmt::format("the requirement '{}' is no file of the model's folder", printable(line)));
  std::ifstream in(file, std::ios::binary);
  std::string bytes(std::istreambuf_iterator<char>(in), {});
  return fmt::format("{}\n# sha256 {}", file.string(), text::hex(crypto::digest(crypto::Algorithm::sha256, bytes)));
}

// One line of a list of packages; empty: nothing is in it.
Result<std::string> requirement(const fs::path& folder, std::string_view line) {
  if (auto at = line.find(" #"); at != std::string_view::npos) line = line.substr(0, at);
  line = text::trim(line);
  if (line.empty() || line.starts_with('#')) return std::string();
  for (char c : line)
    if (static_cast<unsigned char>(c) < 0x20)
      return fail(Code::invalid_argument, "a requirement has a control character in it");
  if (line.starts_with('-')) {
    for (std::string_view allowed : {"--index-url", "--extra-index-url", "--pre", "--find-links https://"})
      if (line.starts_with(allowed)) return std::string(line);
    return fail(Code::invalid_argument, fmt::format("the requirement '{}' is an option that is not taken; list the "
                                                    "packages themselves",
                                                    printable(line)));
  }
  if (line.ends_with(".whl") && !line.contains("://") && !line.contains('@')) return wheel(folder, line);
  if (line.starts_with('.') || line.starts_with('/') || line.contains("file:") ||
      (line.contains('/') && !line.contains("://")))
    return fail(Code::invalid_argument,
                fmt::format("the requirement '{}' is a path, which is not taken", printable(line)));
  return std::string(line);
}

// Another list of the model's folder that a line names: "-c constraints.txt", which MLflow writes itself, or "-r FILE".
// Empty: it names none.
std::string_view list_named(std::string_view line, bool& constraint) {
  line = text::trim(line);
  for (std::string_view option : {"-c", "--constraint", "-r", "--requirement"}) {
    if (!line.starts_with(option)) continue;
    auto rest = line.substr(option.size());
    if (option.starts_with("--") ? rest.empty() || (rest[0] != ' ' && rest[0] != '=') : rest.empty()) continue;
    constraint = option.find('c') == option.find_first_not_of('-');
    return text::trim(rest.substr(rest[0] == '=' ? 1 : 0));
  }
  return {};
}

Result<> add_lines(const fs::path& folder, std::string_view all, ModelEnvironment& out, bool nested = false,
                   bool constraints = false) {
  for (auto line : text::split(all, '\n')) {
    bool constraint = false;
    if (auto name = list_named(line, constraint); !name.empty() && !nested) {
      if (++out.lists > kMaxLists)
        return fail(Code::invalid_argument, "the model names more lists of packages than are read");
      auto list = read_model_text(folder.string(), std::string(name), kMaxFile);
      if (!list)
        return fail(Code::invalid_argument,
                    fmt::format("the list of packages '{}' cannot be read: {}", printable(name), list.error().message));
      MR_CHECK(add_lines(folder, *list, out, true, constraint));
      continue;
    }
    MR_TRY(auto r, requirement(folder, line));
    if (r.empty()) continue;
    if (++out.lines > kMaxLines) return fail(Code::invalid_argument, "the model has more requirements than are taken");
    if (constraints) {
      if (r.starts_with('-') || r.contains('\n'))
        return fail(Code::invalid_argument,
                    fmt::format("the constraint '{}' is no version of a package", printable(line)));
      out.requirements += "#constraint " + r + "\n";
      continue;
    }
    ++out.count;
    out.requirements += r + "\n";
  }
  return {};
}

// "numpy=1.26.4=py311_0" of conda, as pip writes it.
std::string from_conda(std::string_view spec) {
  if (auto at = spec.find("::"); at != std::string_view::npos) spec.remove_prefix(at + 2);
  auto eq = spec.find('=');
  if (eq == std::string_view::npos || (eq > 0 && std::string_view("<>!~").contains(spec[eq - 1])))
    return std::string(spec);
  auto name = text::trim(spec.substr(0, eq));
  auto version = spec.substr(
      spec.find_first_not_of('=', eq) == std::string_view::npos ? spec.size() : spec.find_first_not_of('=', eq));
  version = text::trim(version.substr(0, version.find('=')));
  return version.empty() ? std::string(name) : fmt::format("{}=={}", name, version);
}

Result<> read_conda(const fs::path& folder, const std::string& yaml, bool packages, ModelEnvironment& out) {
  std::string lines;
  try {
    auto doc = YAML::Load(yaml);
    for (const auto& d : doc["dependencies"]) {
      if (d.IsScalar()) {
        auto spec = d.as<std::string>();
        auto name = spec.substr(0, spec.find_first_of("=<>! "));
        if (name == "python" && out.python.empty()) {
          auto v = from_conda(spec);
          if (auto at = v.find("=="); at != std::string::npos) out.python = v.substr(at + 2);
        } else if (name != "python" && name != "pip") {
          lines += from_conda(spec) + "\n";
        }
      } else if (d.IsMap() && d["pip"]) {
        for (const auto& p : d["pip"])
          if (auto text = scalar(p); text != "-r requirements.txt") lines += text + "\n";
      }
    }
  } catch (const YAML::Exception& e) {
    return fail(Code::invalid_argument, fmt::format("conda.yaml is no valid YAML: {}", printable(e.what())));
  }
  return packages ? add_lines(folder, lines, out) : Result<>{};
}

}  // namespace

Result<ModelEnvironment> read_environment(const std::string& where) {
  fs::path folder(where);
  ModelEnvironment out;
  bool listed = false;
  if (auto yaml = small_file(folder / "python_env.yaml")) {
    std::string lines;
    try {
      auto doc = YAML::Load(*yaml);
      out.python = scalar(doc["python"]);
      for (const auto& d : doc["dependencies"])
        if (auto text = scalar(d); text != "-r requirements.txt") lines += text + "\n";
    } catch (const YAML::Exception& e) {
      return fail(Code::invalid_argument, fmt::format("python_env.yaml is no valid YAML: {}", printable(e.what())));
    }
    MR_CHECK(add_lines(folder, lines, out));
    listed = out.count > 0;
  }
  if (auto list = small_file(folder / "requirements.txt")) {
    MR_CHECK(add_lines(folder, *list, out));
    listed = listed || out.count > 0;
  } else if (list.error().code != Code::not_found) {
    return std::unexpected(list.error());
  }
  if (auto yaml = small_file(folder / "conda.yaml")) {
    MR_CHECK(read_conda(folder, *yaml, !listed, out));
    listed = listed || out.count > 0;
  }
  for (char c : out.python)
    if (c != '.' && (c < '0' || c > '9'))
      return fail(Code::invalid_argument, fmt::format("'{}' is no version of Python", printable(out.python)));
  if (!listed)
    return fail(
        Code::failed_precondition,
        "the model brings no requirements.txt, python_env.yaml or conda.yaml, so that no Python environment can "
        "be made for it");
  return out;
}

}  // namespace mr::serving::python
