// CRC-32 of 64 bits at once, written from fragenv/rtl/crc.py: change it there.
// The state begins with all bits 1 and ends inverted; masks choose from {word, state}.

function automatic logic [31:0] crc32(input logic [31:0] state, input logic [63:0] word);
  logic [95:0] all;
  all = {word, state};
  crc32[0] = ^(all & 96'h04d101df481b4e5a481b4e5a);
  crc32[1] = ^(all & 96'h09a203be90369cb590369cb5);
  crc32[2] = ^(all & 96'h1344077d206d396b206d396b);
  crc32[3] = ^(all & 96'h26880efa40da72d740da72d7);
  crc32[4] = ^(all & 96'h4d101df481b4e5af81b4e5af);
  crc32[5] = ^(all & 96'h9a203be90369cb5e0369cb5e);
  crc32[6] = ^(all & 96'h3091760d4ec8d8e64ec8d8e6);
  crc32[7] = ^(all & 96'h6122ec1a9d91b1cd9d91b1cd);
  crc32[8] = ^(all & 96'hc245d8353b23639a3b23639a);
  crc32[9] = ^(all & 96'h805ab1b53e5d896e3e5d896e);
  crc32[10] = ^(all & 96'h046462b534a05c8634a05c86);
  crc32[11] = ^(all & 96'h08c8c56a6940b90c6940b90c);
  crc32[12] = ^(all & 96'h11918ad4d2817218d2817218);
  crc32[13] = ^(all & 96'h232315a9a502e430a502e430);
  crc32[14] = ^(all & 96'h46462b534a05c8604a05c860);
  crc32[15] = ^(all & 96'h8c8c56a6940b90c0940b90c0);
  crc32[16] = ^(all & 96'h1dc9ac92600c6fda600c6fda);
  crc32[17] = ^(all & 96'h3b935924c018dfb5c018dfb5);
  crc32[18] = ^(all & 96'h7726b2498031bf6a8031bf6a);
  crc32[19] = ^(all & 96'hee4d649300637ed500637ed5);
  crc32[20] = ^(all & 96'hd84bc8f948ddb3f048ddb3f0);
  crc32[21] = ^(all & 96'hb446902dd9a029bbd9a029bb);
  crc32[22] = ^(all & 96'h6c5c2184fb5b1d2cfb5b1d2c);
  crc32[23] = ^(all & 96'hd8b84309f6b63a59f6b63a59);
  crc32[24] = ^(all & 96'hb5a187cca5773ae8a5773ae8);
  crc32[25] = ^(all & 96'h6f920e4602f53b8a02f53b8a);
  crc32[26] = ^(all & 96'hdf241c8c05ea771505ea7715);
  crc32[27] = ^(all & 96'hba9938c743cfa07143cfa071);
  crc32[28] = ^(all & 96'h71e37051cf840eb8cf840eb8);
  crc32[29] = ^(all & 96'he3c6e0a39f081d709f081d70);
  crc32[30] = ^(all & 96'hc35cc098760b74bb760b74bb);
  crc32[31] = ^(all & 96'h826880efa40da72da40da72d);
endfunction
