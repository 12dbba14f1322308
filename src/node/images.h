// What an image name stands for on this machine: a Python interpreter, the machine's own programs, a container of that
// image where the user has said so, or nothing.
// Thread safe: resolve() only reads the file system, which may take a few milliseconds the first time (see warm()).
#pragma once
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace mr::node {

struct Interpreter {
  std::string path;      // the program itself, no link, no shim
  std::string prefix;    // what holds its library: /usr, ~/.pyenv/versions/3.11.7, …
  int minor = 0;         // 3.minor
  std::string library;   // prefix/lib/python3.minor
  std::string packages;  // where its pip lives; empty when it has none
};

struct Image {
  enum class Kind : std::uint8_t { host, python, container } kind = Kind::host;
  Interpreter python;
  std::string note;  // what the user should know: another version than asked for
  std::string id;    // imageID
  bool ash = false;  // its sh is busybox's, which knows [[ and writes backslashes as they are
};

// "docker.io/library/python:3.11-slim" -> {"python", "3.11-slim"}; a registry or port is no part of the name.
struct ImageName {
  std::string repository;  // without docker.io/ and library/
  std::string tag;         // "latest" when there is none
};
Result<ImageName> parse_image(std::string_view image);

class Images {
 public:
  // `mapped`: further names (with or without a tag) -> "python:3.11", "host" or "container".
  explicit Images(std::map<std::string, std::string> mapped);
  // Errors carry the reasons InvalidImageName and ErrImagePull.
  [[nodiscard]] Result<Image> resolve(std::string_view image) const;
  // Looks for interpreters now.
  void warm() const { (void)interpreters(); }

 private:
  [[nodiscard]] const std::vector<Interpreter>& interpreters() const;
  [[nodiscard]] Result<Image> python(std::string_view image, std::string_view tag) const;
  std::map<std::string, std::string> mapped_;
  mutable std::once_flag once_;
  mutable std::vector<Interpreter> found_;
};

}  // namespace mr::node
