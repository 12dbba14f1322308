#include "node/volumes.h"

#include <gtest/gtest.h>

#include <fstream>

#include "crypto/random.h"
#include "json/parse.h"

namespace mr::node {
namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& p) {
  std::ifstream in(p);
  return std::string((std::istreambuf_iterator<char>(in)), {});
}

class Volumes : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("mr-vol-" + crypto::random_hex(6));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string folder_;
};

TEST_F(Volumes, FilesAreReplacedTogether) {
  ASSERT_TRUE(write_atomically(folder_, {{"a", {"1"}}, {"sub/b", {"2"}}}));
  EXPECT_EQ(read(folder_ + "/a"), "1");
  EXPECT_EQ(read(folder_ + "/sub/b"), "2");
  auto before = fs::read_symlink(folder_ + "/..data");
  ASSERT_TRUE(write_atomically(folder_, {{"a", {"1"}}, {"sub/b", {"2"}}}));
  EXPECT_EQ(fs::read_symlink(folder_ + "/..data"), before) << "nothing changed";
  ASSERT_TRUE(write_atomically(folder_, {{"a", {"3"}}, {"c", {"4"}}}));
  EXPECT_EQ(read(folder_ + "/a"), "3");
  EXPECT_EQ(read(folder_ + "/c"), "4");
  EXPECT_FALSE(fs::exists(folder_ + "/sub"));
}

TEST_F(Volumes, SubPathStaysInside) {
  fs::create_directories(folder_ + "/v/in");
  fs::create_directory_symlink("/etc", folder_ + "/v/out");
  auto pod = json::parse(R"({"spec":{"volumes":[{"name":"v","emptyDir":{}}]}})")->get_object();
  auto mounts = [&](std::string_view sub) {
    kube::Object mount{{"name", "v"}, {"mountPath", "/m"}, {"subPath", sub}};
    kube::Object c{{"name", "c"}, {"volumeMounts", kube::Array{mount}}};
    return resolve_mounts(pod, c, {{"v", folder_ + "/v"}}, {});
  };
  EXPECT_TRUE(mounts("in"));
  EXPECT_TRUE(mounts("made/here"));
  EXPECT_TRUE(fs::is_directory(folder_ + "/v/made/here"));
  for (auto bad : {"../x", "in/../../x", "/etc", "out", "out/ssl"}) EXPECT_FALSE(mounts(bad)) << bad;
}

}  // namespace
}  // namespace mr::node
