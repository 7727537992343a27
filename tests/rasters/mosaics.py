"""Virtual rasters of several files."""

import rasterio


def mosaic(path, parts, size, nodata=None, bands=(1, 2, 3)):
    """Write a VRT of rasters beside each other, as gdalbuildvrt does.

    Args:
        path: The VRT, in the folder of its parts.
        parts: Each part, and its first row, first column, height and width.
        size: Height and width of the VRT.
        nodata: Declared nodata value, which fills gaps between parts; None for no declaration.
        bands: Bands of the parts.
    """
    declared = "" if nodata is None else f"<NoDataValue>{nodata}</NoDataValue>"
    elements = []
    for band in bands:
        sources = "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{part.name}</SourceFilename><SourceBand>{band}</SourceBand>'
            f'<SrcRect xOff="0" yOff="0" xSize="{width}" ySize="{height}"/>'
            f'<DstRect xOff="{col}" yOff="{row}" xSize="{width}" ySize="{height}"/></SimpleSource>'
            for part, (row, col, height, width) in parts
        )
        elements.append(f'<VRTRasterBand dataType="Byte" band="{band}">{declared}{sources}</VRTRasterBand>')
    with rasterio.open(parts[0][0]) as dataset:
        crs, transform = dataset.crs.to_wkt(), ", ".join(map(str, dataset.transform.to_gdal()))
    path.write_text(
        f'<VRTDataset rasterXSize="{size[1]}" rasterYSize="{size[0]}"><SRS>{crs}</SRS><GeoTransform>{transform}'
        f"</GeoTransform>{''.join(elements)}</VRTDataset>"
    )
    return path
