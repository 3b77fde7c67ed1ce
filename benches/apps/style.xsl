<?xml version="1.0"?>
<!-- Sorted, filtered and numbered tables of the made-up data. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
  <xsl:output method="html" indent="yes"/>
  <xsl:key name="city" match="person" use="city"/>
  <xsl:template match="/people">
    <html><body>
      <xsl:for-each select="person[generate-id() = generate-id(key('city', city)[1])]">
        <xsl:sort select="city"/>
        <h1><xsl:value-of select="city"/>: <xsl:value-of select="count(key('city', city))"/></h1>
        <table><xsl:apply-templates select="key('city', city)"><xsl:sort select="name"/><xsl:sort select="@id" data-type="number"/></xsl:apply-templates></table>
        <p><xsl:value-of select="sum(key('city', city)/score)"/></p>
      </xsl:for-each>
    </body></html>
  </xsl:template>
  <xsl:template match="person">
    <tr>
      <td><xsl:value-of select="position()"/></td>
      <td><xsl:value-of select="translate(name, 'abcdefghij', 'ABCDEFGHIJ')"/></td>
      <td>
        <xsl:choose>
          <xsl:when test="score &gt; 700">high</xsl:when>
          <xsl:when test="contains(name, 'an') and score &gt; 300">middle</xsl:when>
          <xsl:otherwise><xsl:value-of select="substring-before(concat(name, ' x'), ' ')"/></xsl:otherwise>
        </xsl:choose>
      </td>
      <td><xsl:value-of select="count(preceding-sibling::person[position() &lt; 20][city = current()/city])"/></td>
    </tr>
  </xsl:template>
</xsl:stylesheet>
