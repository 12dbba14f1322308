import { defineConfig } from "vitest/config";

export default defineConfig({
  base: "/dashboard/",
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  build: { target: "es2020", assetsInlineLimit: 0, modulePreload: { polyfill: false }, reportCompressedSize: false },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
