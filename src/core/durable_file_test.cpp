#include "core/durable_file.h"

#include <fstream>
#include <sstream>

#include "temp_dir.h"

namespace mr {
namespace {

namespace fs = std::filesystem;

std::string content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

TEST(DurableFile, AppearsWholeAtCommit) {
  testing::TempDir dir;
  auto f = DurableFile::create(dir.file("tmp"));
  ASSERT_TRUE(f);
  ASSERT_TRUE(f->append("first, "));
  ASSERT_TRUE(f->append("second"));
  EXPECT_EQ(f->size(), 13U);
  EXPECT_FALSE(fs::exists(dir.file("final")));
  ASSERT_TRUE(f->commit(dir.file("final")));
  EXPECT_EQ(content(dir.file("final")), "first, second");
  EXPECT_FALSE(fs::exists(dir.file("tmp")));
}

TEST(DurableFile, LeavesNothingWhenDropped) {
  testing::TempDir dir;
  {
    auto f = DurableFile::create(dir.file("tmp"));
    ASSERT_TRUE(f->append("x"));
    DurableFile moved = std::move(*f);  // the moved-from one must not remove the file
    EXPECT_TRUE(fs::exists(dir.file("tmp")));
  }
  EXPECT_TRUE(fs::is_empty(dir.path()));
}

TEST(DurableFile, ReplacesAndRefuses) {
  testing::TempDir dir;
  std::ofstream(dir.file("final")) << "old";
  auto f = DurableFile::create(dir.file("tmp"));
  ASSERT_TRUE(f->append("new"));
  ASSERT_TRUE(f->commit(dir.file("final")));
  EXPECT_EQ(content(dir.file("final")), "new");
  std::ofstream(dir.file("taken")) << "x";
  EXPECT_FALSE(DurableFile::create(dir.file("taken")));  // never writes into a file that is there
  auto g = DurableFile::create(dir.file("tmp2"));
  EXPECT_FALSE(g->commit(dir.file("no/such/folder")));
}

TEST(WriteUnnamedYet, WritesWholeOrLeavesNothing) {
  testing::TempDir dir;
  ASSERT_TRUE(write_unnamed_yet(dir.file("a"), "bytes"));
  EXPECT_EQ(content(dir.file("a")), "bytes");
  EXPECT_FALSE(write_unnamed_yet(dir.file("a"), "others"));
  EXPECT_EQ(content(dir.file("a")), "bytes");
  EXPECT_FALSE(write_unnamed_yet(dir.file("no/such/folder"), "x"));
}

TEST(MakeFolders, MakesAllAndRefusesFiles) {
  testing::TempDir dir;
  EXPECT_TRUE(make_folders(dir.file("a/b/c")));
  EXPECT_TRUE(make_folders(dir.file("a/b/c")));
  EXPECT_TRUE(fs::is_directory(dir.file("a/b/c")));
  std::ofstream(dir.file("file")) << "x";
  EXPECT_FALSE(make_folders(dir.file("file")));
  EXPECT_FALSE(make_folders(dir.file("file/below")));
}

}  // namespace
}  // namespace mr
