#include "node/images.h"

#include <fstream>

#include "crypto/digest.h"
#include "text/text.h"

namespace mr::node {

namespace fs = std::filesystem;

Result<ImageName> parse_image(std::string_view image) {
  auto bad = [&] {
    return fail(Code::invalid_argument,
                fmt::format("Failed to apply default image tag \"{}\": couldn't parse image name", image),
                "InvalidImageName");
  };
  if (image.empty() || image.size() > 512) return bad();
  for (char c : image)
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
          std::string_view("._-/:@+").contains(c)))
      return bad();
  ImageName n;
  if (auto at = image.find('@'); at != std::string_view::npos) image = image.substr(0, at);
  auto slash = image.rfind('/');
  auto colon = image.rfind(':');
  if (colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash)) {
    n.tag = std::string(image.substr(colon + 1));
    image = image.substr(0, colon);
    if (n.tag.empty()) return bad();
  } else {
    n.tag = "latest";
  }
  if (image.empty() || image.back() == '/' || image.front() == '/') return bad();
  for (std::string_view prefix : {"docker.io/", "index.docker.io/", "registry-1.docker.io/"})
    if (image.starts_with(prefix)) image.remove_prefix(prefix.size());
  if (image.starts_with("library/")) image.remove_prefix(8);
  if (image.empty()) return bad();
  n.repository = std::string(image);
  return n;
}

Images::Images(std::map<std::string, std::string> mapped) : mapped_(std::move(mapped)) {}

namespace {

bool is_program(const fs::path& p) {
  std::ifstream in(p, std::ios::binary);
  char magic[4] = {};
  in.read(magic, 4);
  return in && std::memcmp(magic,
                           "\x7f"
                           "ELF",
                           4) == 0;
}

// 3.minor of "python3.11"; -1 for other names.
int minor_of(std::string_view file) {
  if (!file.starts_with("python3.")) return -1;
  auto v = text::to_u64(file.substr(8));
  return v && *v < 100 ? static_cast<int>(*v) : -1;
}

void look_in(const fs::path& folder, std::vector<Interpreter>& out) {
  std::error_code ec;
  for (fs::directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec)) {
    int minor = minor_of(it->path().filename().string());
    if (minor < 0) continue;
    auto real = fs::canonical(it->path(), ec);
    if (ec || !is_program(real)) {
      ec.clear();
      continue;
    }
    Interpreter i;
    i.path = real.string();
    i.prefix = real.parent_path().parent_path().string();
    i.minor = minor;
    i.library = fmt::format("{}/lib/python3.{}", i.prefix, minor);
    if (!fs::exists(i.library + "/os.py", ec)) continue;
    for (const auto& packages : {i.library + "/site-packages", i.prefix + "/lib/python3/dist-packages"})
      if (fs::exists(packages + "/pip/__init__.py", ec)) {
        i.packages = packages;
        break;
      }
    if (std::ranges::none_of(out, [&](const Interpreter& o) { return o.path == i.path; })) out.push_back(std::move(i));
  }
}

void look_below(const fs::path& folder, std::vector<Interpreter>& out) {
  std::error_code ec;
  std::vector<fs::path> versions;
  for (fs::directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec)) versions.push_back(it->path());
  std::ranges::sort(versions, std::greater<>());
  for (const auto& v : versions) look_in(v / "bin", out);
}

}  // namespace

const std::vector<Interpreter>& Images::interpreters() const {
  std::call_once(once_, [this] {
    const char* home = ::getenv("HOME");
    fs::path h = home != nullptr ? home : "/root";
    if (const char* uv = ::getenv("UV_PYTHON_INSTALL_DIR")) look_below(uv, found_);
    look_below(h / ".local/share/uv/python", found_);
    look_below(h / ".pyenv/versions", found_);
    look_in("/usr/local/bin", found_);
    look_in("/usr/bin", found_);
    // Those that can install packages come first.
    std::vector<Interpreter> ordered;
    for (bool with : {true, false})
      for (const auto& i : found_)
        if (i.packages.empty() != with) ordered.push_back(i);
    found_ = std::move(ordered);
  });
  return found_;
}

Result<Image> Images::python(std::string_view image, std::string_view tag) const {
  const auto& all = interpreters();
  if (all.empty())
    return fail(Code::unavailable,
                fmt::format("image \"{}\" needs a Python interpreter and this machine has none: install the package "
                            "python3, or run `uv python install`",
                            image),
                "ErrImagePull");
  // "3.11", "3.11.7-slim", "3", "latest", "slim-bookworm"
  int wanted = -1;
  auto version = tag.substr(0, tag.find('-'));
  if (version.starts_with("3.")) {
    auto minor = version.substr(2);
    minor = minor.substr(0, minor.find('.'));
    if (auto v = text::to_u64(minor); v && *v < 100) wanted = static_cast<int>(*v);
  } else if (version.starts_with("2")) {
    return fail(Code::unavailable, fmt::format("image \"{}\": Python 2 is not run here", image), "ErrImagePull");
  }
  const Interpreter* best = nullptr;
  for (const auto& i : all) {
    if (best == nullptr) best = &i;
    if (wanted < 0) break;
    if (std::abs(i.minor - wanted) < std::abs(best->minor - wanted)) best = &i;
  }
  Image out;
  out.kind = Image::Kind::python;
  out.python = *best;
  if (wanted >= 0 && best->minor != wanted) {
    auto how = fmt::format("Python 3.{} is not installed on this machine (`uv python install 3.{}` brings it)", wanted,
                           wanted);
    out.note = fmt::format("{}; image \"{}\" runs with Python 3.{}", how, image, best->minor);
  }
  out.id = "millrace://process/sha256:" + text::hex(crypto::digest(crypto::Algorithm::sha256, out.python.path));
  return out;
}

Result<Image> Images::resolve(std::string_view image) const {
  MR_TRY(auto name, parse_image(image));
  for (const auto& key : {std::string(image), name.repository + ":" + name.tag, name.repository}) {
    auto it = mapped_.find(key);
    if (it == mapped_.end()) continue;
    if (it->second.starts_with("python")) {
      auto colon = it->second.find(':');
      return python(image, colon == std::string::npos ? "latest" : std::string_view(it->second).substr(colon + 1));
    }
    if (it->second == "container") return Image{.kind = Image::Kind::container, .python = {}, .note = {}, .id = {}};
    name = {"debian", "latest"};
    break;
  }
  // A mirror keeps the last part of the name: "registry.example.com/library/python".
  auto last = std::string_view(name.repository);
  if (auto library = last.find("/library/"); library != std::string_view::npos) last.remove_prefix(library + 9);
  if (auto slash = last.find('/'); slash != std::string_view::npos && last.substr(0, slash).contains('.') &&
                                   last.find('/', slash + 1) == std::string_view::npos)
    last.remove_prefix(slash + 1);
  if (last == "python") return python(image, name.tag);
  // Red Hat's name the version in their name: "registry.access.redhat.com/ubi9/python-311".
  if (auto at = name.repository.rfind("/python-3"); at != std::string::npos && name.repository.contains("ubi")) {
    auto minor = std::string_view(name.repository).substr(at + 9);
    if (auto v = text::to_u64(minor); v && *v < 100) return python(image, fmt::format("3.{}", *v));
  }
  // The two that are mirrored under other people's names: "ghcr.io/containerd/busybox".
  for (std::string_view common : {"busybox", "alpine"})
    if (name.repository.find('.') < name.repository.find('/') && name.repository.ends_with(fmt::format("/{}", common)))
      last = common;
  static constexpr std::string_view kHost[] = {"busybox", "alpine", "debian", "ubuntu", "bash", "curlimages/curl"};
  if (std::ranges::find(kHost, last) != std::end(kHost)) {
    Image out;
    out.id = "millrace://process/sha256:" + text::hex(crypto::digest(crypto::Algorithm::sha256, "host"));
    out.ash = last == "busybox" || last == "alpine";
    return out;
  }
  return fail(
      Code::unavailable,
      fmt::format("no process of this machine stands for image \"{}\": name python:3.x (a Python process), busybox or "
                  "debian (this machine's own programs), or map the name to one of them with --image",
                  image),
      "ErrImagePull");
}

}  // namespace mr::node
