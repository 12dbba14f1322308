#include "serving/onnx/external_data.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <filesystem>
#include <set>

#include "core/fd.h"
#include "grpc/wire.h"
#include "serving/types.h"
#include "text/uri.h"

namespace mr::serving::onnx {

namespace fs = std::filesystem;

namespace {

// Messages nest: graphs hold nodes, whose attributes hold graphs and tensors.
constexpr int kMaxGraphNesting = 64;
constexpr std::size_t kMaxPaths = 100'000;

std::unexpected<Error> damaged(std::string_view what) {
  return fail(Code::data_loss, fmt::format("it is no ONNX model: {}", what));
}

// The numbers of the fields that lead to tensors, by the message that has them.
class Walk {
 public:
  bool model(std::string_view bytes) {
    return fields(bytes, [&](std::uint32_t f, grpc::Reader& r) {
      if (f == 7) {
        any_ = true;
        return graph(r.bytes(), 0);
      }
      if (f == 20) return training(r.bytes());
      if (f == 25) return function(r.bytes());
      return true;
    });
  }
  [[nodiscard]] bool any() const { return any_; }
  std::set<std::string> paths;

 private:
  template <class F>
  bool fields(std::string_view bytes, F each) {
    grpc::Reader r(bytes);
    while (r.next())
      if (!each(r.field(), r)) return false;
    return r.ok();
  }
  bool training(std::string_view bytes) {
    return fields(bytes, [&](std::uint32_t f, grpc::Reader& r) { return f > 2 || graph(r.bytes(), 0); });
  }
  bool function(std::string_view bytes) {
    return fields(bytes, [&](std::uint32_t f, grpc::Reader& r) {
      if (f == 7) return node(r.bytes(), 0);
      if (f == 11) return attribute(r.bytes(), 0);
      return true;
    });
  }
  bool graph(std::string_view bytes, int depth) {
    if (depth > kMaxGraphNesting) return false;
    return fields(bytes, [&](std::uint32_t f, grpc::Reader& r) {
      if (f == 1) return node(r.bytes(), depth);
      if (f == 5) return tensor(r.bytes());
      if (f == 15) return sparse(r.bytes());
      return true;
    });
  }
  bool node(std::string_view bytes, int depth) {
    return fields(bytes, [&](std::uint32_t f, grpc::Reader& r) { return f != 5 || attribute(r.bytes(), depth); });
  }
  bool attribute(std::string_view bytes, int depth) {
    return fields(bytes, [&](std::uint32_t f, grpc::Reader& r) {
      if (f == 5 || f == 10) return tensor(r.bytes());
      if (f == 6 || f == 11) return graph(r.bytes(), depth + 1);
      if (f == 22 || f == 23) return sparse(r.bytes());
      return true;
    });
  }
  bool sparse(std::string_view bytes) {
    return fields(bytes, [&](std::uint32_t f, grpc::Reader& r) { return f > 2 || tensor(r.bytes()); });
  }
  bool tensor(std::string_view bytes) {
    return fields(bytes, [&](std::uint32_t f, grpc::Reader& r) {
      if (f != 13) return true;
      std::string_view key, value;
      bool read = fields(r.bytes(), [&](std::uint32_t g, grpc::Reader& pair) {
        if (g == 1) key = pair.bytes();
        if (g == 2) value = pair.bytes();
        return true;
      });
      if (key == "location") paths.emplace(value);
      return read && paths.size() <= kMaxPaths;
    });
  }
  bool any_ = false;
};

}  // namespace

Result<std::vector<std::string>> external_paths(std::string_view model) {
  Walk walk;
  if (!walk.model(model)) return damaged("its fields cannot be read");
  if (!walk.any()) return damaged("there is no graph in it");
  return std::vector<std::string>(walk.paths.begin(), walk.paths.end());
}

Result<> check_external_data(const std::string& file) {
  Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st{};
  if (!fd || ::fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) return damaged("the file cannot be read");
  if (st.st_size == 0) return damaged("the file is empty");
  const auto size = static_cast<std::size_t>(st.st_size);
  void* p = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (p == MAP_FAILED) return damaged("the file cannot be mapped");
  auto paths = external_paths({static_cast<const char*>(p), size});
  ::munmap(p, size);
  if (!paths) return std::unexpected(paths.error());
  std::error_code ec;
  const auto folder = fs::canonical(fs::path(file).parent_path(), ec);
  for (const auto& path : *paths) {
    auto safe = text::safe_relative_path(path);
    auto target = safe ? fs::canonical(folder / *safe, ec) : fs::path();
    if (!safe || (!ec && !target.string().starts_with(folder.string() + "/")))
      return fail(Code::data_loss,
                  fmt::format("it names the file '{}', which is not in the model's folder", printable(path)));
    if (ec || !fs::is_regular_file(target, ec))
      return fail(Code::data_loss, fmt::format("its file '{}' is not there", printable(path)));
  }
  return {};
}

}  // namespace mr::serving::onnx
