#include "pipelines/package_file.h"

#include <archive.h>
#include <archive_entry.h>
#include <gtest/gtest.h>

namespace mr::pipelines {
namespace {

std::string pack(bool zip, const std::vector<std::pair<std::string, std::string>>& files) {
  std::string out(1U << 20, '\0');
  std::size_t used = 0;
  auto* a = archive_write_new();
  if (zip) {
    archive_write_set_format_zip(a);
  } else {
    archive_write_set_format_ustar(a);
    archive_write_add_filter_gzip(a);
  }
  archive_write_open_memory(a, out.data(), out.size(), &used);
  for (const auto& [name, bytes] : files) {
    auto* e = archive_entry_new();
    archive_entry_set_pathname(e, name.c_str());
    archive_entry_set_size(e, static_cast<la_int64_t>(bytes.size()));
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, 0644);
    archive_write_header(a, e);
    archive_write_data(a, bytes.data(), bytes.size());
    archive_entry_free(e);
  }
  archive_write_close(a);
  archive_write_free(a);
  out.resize(used);
  return out;
}

TEST(PackageFile, unpacksBothArchives) {
  for (const bool zip : {false, true}) {
    const auto* name = zip ? "p.zip" : "p.tar.gz";
    EXPECT_EQ(package_text(name, pack(zip, {{"a.yaml", "first"}, {"pipeline.yaml", "second"}})).value(), "second");
    EXPECT_EQ(package_text(name, pack(zip, {{"a.yml", "first"}, {"b.yaml", "second"}})).value(), "first");
    auto other = package_text(name, pack(zip, {{"a.txt", "first"}}));
    ASSERT_FALSE(other);
    EXPECT_NE(other.error().message.find("Got: a.txt"), std::string::npos);
    auto broken = pack(zip, {{"a.yaml", "first"}});
    broken.resize(broken.size() / 3);
    EXPECT_FALSE(package_text(name, broken));
    EXPECT_FALSE(package_text(name, pack(zip, {})));
  }
}

TEST(PackageFile, takesTextsByTheirName) {
  EXPECT_EQ(package_text("p.yaml", "PK is text here").value(), "PK is text here");
  EXPECT_EQ(package_text("p.json", "{}").value(), "{}");
  EXPECT_EQ(package_text("p.txt", "{}").error().message,
            "Unexpected pipeline file format. Support .zip, .tar.gz, .json or YAML");
  EXPECT_EQ(package_text("p.yaml", std::string(kPackageLimit + 1, ' ')).error().code, Code::too_large);
}

TEST(PackageFile, anArchiveCannotGrowWithoutBound) {
  const std::string zeros(kPackageLimit + 1, '\0');
  EXPECT_EQ(package_text("p.zip", pack(true, {{"pipeline.yaml", zeros}})).error().code, Code::too_large);
  EXPECT_EQ(package_text("p.tar.gz", pack(false, {{"pipeline.yaml", zeros}})).error().code, Code::too_large);
}

TEST(PackageFile, findsTheFileOfAForm) {
  const std::string body =
      "--XX\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n"
      "--XX\r\nContent-Disposition: form-data; name=\"uploadfile\"; filename=\"/tmp/my \\\"p\\\".yaml\"\r\n"
      "Content-Type: application/octet-stream\r\n\r\nline 1\r\n--X\r\n\r\n--XX--\r\n";
  auto f = form_file("multipart/form-data; boundary=XX", body, "uploadfile");
  ASSERT_TRUE(f) << f.error().message;
  EXPECT_EQ(f->name, "my \"p\".yaml");
  EXPECT_EQ(f->bytes, "line 1\r\n--X\r\n");
  EXPECT_EQ(form_file("multipart/form-data; boundary=\"XX\"", body, "uploadfile")->bytes.size(), 13U);
  EXPECT_FALSE(form_file("multipart/form-data; boundary=XX", body, "other"));
  EXPECT_FALSE(form_file("multipart/form-data; boundary=YY", body, "uploadfile"));
  EXPECT_FALSE(form_file("multipart/form-data", body, "uploadfile"));
  EXPECT_FALSE(form_file("application/json; boundary=XX", body, "uploadfile"));
  EXPECT_TRUE(form_file("multipart/form-data; boundary=XX",
                        "--XX\r\nContent-Disposition: form-data; name=\"uploadfile\"; filename=\"a\"\r\n\r\n\r\n--XX--",
                        "uploadfile")
                  ->bytes.empty());
  for (std::size_t cut = 0; cut < body.size(); ++cut)
    (void)form_file("multipart/form-data; boundary=XX", std::string_view(body).substr(0, cut), "uploadfile");
}

}  // namespace
}  // namespace mr::pipelines
